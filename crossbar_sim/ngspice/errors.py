"""The exception of everything that runs ngspice."""


class NgspiceError(RuntimeError):
    """ngspice is missing, failed, or gave a result that cannot be trusted."""
