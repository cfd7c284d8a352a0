//! Who may have which name: class 1 (pod and SG) and class 3 (SG and SPA).
//!
//! [`announcer`] is the pod's side, [`registrar`] the SG's and [`authority`] the SPA's. All three take the time as an
//! argument and leave what they want done in a queue, so that each is tested without the others. `attachments` is how the
//! SCSC says which routers may advertise its name.

pub mod announcer;
pub(crate) mod attachments;
pub mod authority;
pub mod intake;
pub mod licence;
pub mod registrar;

pub use announcer::Announcer;
pub use authority::Authority;
pub use licence::Licences;
pub use registrar::Registrar;
