"""What a command does from settings to files; `jobs/render_clip.py` is the whole way of a clip on one page."""
