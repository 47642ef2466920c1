"""Making a sprite sheet: movements rendered, figures cut out, cells laid out."""
