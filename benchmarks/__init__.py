"""boostgrad beside its peers: problems (what), libraries (who), run (how), report (tables and plots)."""
