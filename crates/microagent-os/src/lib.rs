//! The one door to files, locks, processes, local sockets, the terminal and the clock.
