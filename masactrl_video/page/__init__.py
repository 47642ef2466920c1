"""Pages and sheets: stories, layout, balloons and text on pictures; knows no model."""
