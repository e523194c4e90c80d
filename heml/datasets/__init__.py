"""Where images, labels and masks come from. An adapter yields `ImageRecord`s; `images` stores them as Parquet
shards."""
