//! damc-lab
