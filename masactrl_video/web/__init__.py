"""A page in the browser on which jobs are described, queued, watched and shown; nothing is rendered here."""
