/// How much of what a client says about its request is believed.
///
/// Set where the layers are put together: a service that anybody can reach stands at the
/// [edge](Trust::Edge), one that only our own services can reach is [inside](Trust::Inside).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Anybody may have sent it. Ids are kept if they are well-formed; a deadline may only
    /// shorten what the policy gives; tier and baggage are ignored. The default: the error on
    /// the safe side.
    #[default]
    Edge,
    /// One of our own services has sent it: its tier and its baggage are kept, too.
    Inside,
}
