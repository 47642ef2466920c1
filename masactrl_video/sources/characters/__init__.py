"""Characters that users keep: a name, the recipe of a source, its picture and its tensors."""
