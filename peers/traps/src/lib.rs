//! What goes wrong when the usual parts are put together, and what holds.
//!
//! The tests are in `tests/traps`, the pages in `docs/traps`. Here is the code of those pages that uses the usual parts,
//! so that it compiles and stays what people write: a fence that begins with `rs,usual` is compiled here, and one that
//! begins with `rust` by the facade, where our code belongs. `build.rs` sorts them.
#![forbid(unsafe_code)]

include!(concat!(env!("OUT_DIR"), "/pages.rs"));
