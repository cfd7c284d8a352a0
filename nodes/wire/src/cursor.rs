//! Bounds-checked reading and writing.
