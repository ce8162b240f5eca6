"""Every figure of the papers, and the ledger of their claims: ``python -m paper_figures``."""
