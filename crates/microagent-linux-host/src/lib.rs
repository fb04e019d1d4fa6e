//! A VMM that is a Linux process: launch, confine, watch, network, vsock over Unix sockets.
