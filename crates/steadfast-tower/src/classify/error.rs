use std::error::Error;
use std::io;

use steadfast_core::decide::budget::Failure;

use super::CallEnd;
use crate::Rejection;

/// How many sources of an error are looked at: 32, far more than layers can be stacked, since
/// nothing forbids an error to be its own source.
const SOURCES_MAX: usize = 32;

impl CallEnd {
    /// Judges an error by it and its sources; see the [module](super).
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        for _ in 0..SOURCES_MAX {
            let Some(error) = next else { break };
            if let Some(rejection) = error.downcast_ref::<Rejection>() {
                return Self::rejected(rejection);
            }
            next = error.source();
            if let Some(io) = error.downcast_ref::<io::Error>() {
                // Only given while connecting; a connection that breaks is reset or aborted.
                if io.kind() == io::ErrorKind::ConnectionRefused {
                    return Self::failed(Failure::Unsent);
                }
                // Its source is that of what it holds, and leaves that itself out.
                next = io.get_ref().map(|held| held as _).or(next);
            }
        }
        Self::failed(Failure::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;
    use std::fmt;

    #[derive(Debug)]
    struct Outer(Box<dyn Error + Send + Sync>);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    /// An error that is its own source.
    #[derive(Debug)]
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("endless")
        }
    }

    impl Error for Endless {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn what_matters_is_found_at_any_depth() {
        let rejection = || Rejection::new(Reason::Overloaded, "p");
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let cases: [(Box<dyn Error>, CallEnd); 7] = [
            (Box::new(rejection()), CallEnd::rejected(&rejection())),
            (
                Box::new(Outer(rejection().into())),
                CallEnd::rejected(&rejection()),
            ),
            (
                Box::new(Outer(io::Error::other(rejection()).into())),
                CallEnd::rejected(&rejection()),
            ),
            (
                Box::new(Outer(Outer(refused().into()).into())),
                CallEnd::failed(Failure::Unsent),
            ),
            (
                Box::new(io::Error::other(Outer(refused().into()))),
                CallEnd::failed(Failure::Unsent),
            ),
            (
                Box::new(io::Error::from(io::ErrorKind::ConnectionReset)),
                CallEnd::failed(Failure::Unknown),
            ),
            (Box::new(Endless), CallEnd::failed(Failure::Unknown)),
        ];

        for (error, expected) in cases {
            assert_eq!(CallEnd::of_error(&*error), expected, "{error:?}");
        }
    }
}
