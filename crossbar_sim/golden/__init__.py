"""A thousand arrays with certified currents, on which any simulator of crossbars can be scored."""
