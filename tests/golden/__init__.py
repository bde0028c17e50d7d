"""Expected results of the candidates: a model of the instructions and the generator built on it."""
