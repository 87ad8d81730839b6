"""The hosted enrollment page, as far as it shows without a browser; tests/browser has the rest."""
