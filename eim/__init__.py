"""Role eIM (SGP.32): manages the profiles of IoT devices by signed packages. Decides, does no input or output."""
