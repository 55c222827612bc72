//! A line without words, for a table's cell.

use maud::{Markup, html};

use crate::hub::scalar::Scalar;

use super::axis::Window;

const PARTS: usize = 40;
const WIDTH: usize = 120;
const HEIGHT: f64 = 24.0;

/// The course of one series over a window, coarsely.
pub(in crate::hub::web) struct Spark {
    window: Window,
    parts: [(f64, u32); PARTS],
    before: Option<f64>,
    counter: bool,
}

impl Spark {
    pub(in crate::hub::web) fn new(window: Window, counter: bool) -> Self {
        Self { window, parts: [(0.0, 0); PARTS], before: None, counter }
    }

    pub(in crate::hub::web) fn push(&mut self, ms: i64, value: Scalar<'_>) {
        let Some(x) = value.to_value().as_f64().filter(|x| x.is_finite()) else { return };
        let before = self.before.replace(x);
        let x = match before {
            _ if !self.counter => x,
            Some(before) if x >= before => x - before,
            Some(_) => x,
            None => return,
        };
        if self.window.holds(ms) {
            let (sum, count) = &mut self.parts[self.window.part(ms, PARTS)];
            *sum += x;
            *count += 1;
        }
    }

    /// Nothing where there are not two points to join.
    pub(in crate::hub::web) fn draw(&self) -> Markup {
        let means = self.parts.iter().enumerate().filter(|(_, (_, count))| *count > 0);
        let means: Vec<(usize, f64)> =
            means.map(|(at, (sum, count))| (at, sum / f64::from(*count))).collect();
        if means.len() < 2 {
            return html! {};
        }
        let low = means.iter().map(|(_, x)| *x).fold(f64::INFINITY, f64::min);
        let high = means.iter().map(|(_, x)| *x).fold(f64::NEG_INFINITY, f64::max);
        // What hardly moves is drawn as hardly moving.
        let span = (high - low).max(high.abs() * 0.02).max(f64::MIN_POSITIVE);
        let middle = f64::midpoint(low, high);
        let y = |x: f64| HEIGHT / 2.0 - (x - middle) / span * (HEIGHT - 4.0);
        let x = |at: usize| at * (WIDTH - 4) / (PARTS - 1) + 2;
        let mut points = String::new();
        for (at, mean) in &means {
            points.push_str(&format!("{} {:.1} ", x(*at), y(*mean)));
        }
        html! {
            svg.spark width=(WIDTH) height=(HEIGHT) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } aria-hidden="true" {
                polyline points=(points.trim_end()) {}
                @if let Some((at, mean)) = means.last() {
                    circle cx=(x(*at)) cy=(format!("{:.1}", y(*mean))) r="2" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spark_stays_in_its_box() {
        for xs in [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1e300, -1e300, 0.0], [5e-320, 1e-320, 0.0]] {
            let mut spark = Spark::new(Window::new(0, 3000), false);
            for (at, x) in xs.into_iter().enumerate() {
                spark.push(at as i64 * 1000, Scalar::Float(x));
            }
            let text = spark.draw().into_string();
            let points = text.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            let ys = points.split(' ').skip(1).step_by(2).map(|y| y.parse::<f64>().unwrap());
            assert!(ys.clone().all(|y| (0.0..=HEIGHT).contains(&y)), "{xs:?} {points}");
            assert_eq!(ys.count(), 3);
        }
    }

    #[test]
    fn one_point_is_no_line() {
        let mut spark = Spark::new(Window::new(0, 3000), true);
        spark.push(0, Scalar::Signed(5));
        spark.push(1000, Scalar::Signed(9));
        assert_eq!(spark.draw().into_string(), "");
    }
}
