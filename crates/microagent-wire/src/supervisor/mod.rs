//! The supervisor protocol: one request on stdin, one response on stdout.
