"""Plain models of what retrywrap promises, programs to try them on, and what runs these on both sides."""
