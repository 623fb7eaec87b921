"""Model families behind one view: the dual encoder."""
