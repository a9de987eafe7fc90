"""Knowledge-distillation methods, one file each."""
