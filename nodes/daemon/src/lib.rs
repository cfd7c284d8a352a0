//! damc-daemon
