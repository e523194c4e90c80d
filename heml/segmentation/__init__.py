"""From images to segments: fit or load a SegFormer, keep its label maps, cut the segment manifest from them."""
