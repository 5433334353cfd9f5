"""Rehearsals of restores: beside what lives, compared, measured against objectives, and cleaned up."""
