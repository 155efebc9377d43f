"""The page and the plots of a study or of a search; no trial is computed here."""
