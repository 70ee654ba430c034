//! x
fn main() {
    println!(
        "{}",
        if std::env::args().count() > 1 {
            steadfast_sim::s2_tiers::explore()
        } else {
            steadfast_sim::s1_limit::explore()
        }
    );
}
