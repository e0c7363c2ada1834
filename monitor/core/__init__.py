"""The pure core: values in, values out. No sockets, no files, no clock; time is an argument."""
