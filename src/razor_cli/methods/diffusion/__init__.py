"""Methods that need a model which draws from noise, one file each and what belongs to it beside."""
