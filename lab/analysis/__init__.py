"""Analysis: what an attack did to a picture and to the model's view of it."""
