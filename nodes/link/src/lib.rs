//! damc-link
