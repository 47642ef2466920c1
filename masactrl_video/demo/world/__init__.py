"""A procedural cartoon world: articulated characters over scenes, drawn from 18 COCO keypoints."""
