//! Packages from the author's folder to another host's agent, and whatever is done to them on the way:
//! with the real program, a real hub, and registries that misbehave.

mod archives;
mod bundled;
mod disturbed;
mod hostile;
mod install;
mod real;
mod story;
mod support;
