//! Link-state behaviour in virtual time. Test names carry the number of the check-list row (ANCHORS section 1) or the
//! requirement they pin.

mod adjacency;
mod basics;
mod belief;
mod flooding;
mod insider;
mod oracle;
mod puppet;
mod repair;
mod routes;
mod star;
