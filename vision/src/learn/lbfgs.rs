//! Minimising a smooth convex function: L-BFGS (Nocedal and Wright, algorithm 7.4) that is asked where to look and told what is there.

use std::collections::VecDeque;

use super::metric::Metric;

/// Steps that are remembered.
const MEMORY: usize = 20;
/// Share of the expected decrease that a step must bring (Armijo).
const ARMIJO: f64 = 1e-4;
/// Halvings of a step before it is given up: by then rounding decides.
const HALVINGS: usize = 20;

/// One function being minimised.
#[derive(Debug)]
pub(super) struct Minimiser {
    at: Vec<f64>,
    /// Value and gradient there, once they are known.
    value: f64,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    slope: f64,
    step: f64,
    halvings: usize,
    candidate: Vec<f64>,
    history: VecDeque<Pair>,
    /// The gradient's length at which it is done.
    enough: f64,
    tolerance: f64,
    left: usize,
    state: State,
    /// The curvature, where something is known of it beforehand.
    metric: Option<Metric>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Beginning,
    Searching,
    Done,
}

/// A step, the gradient's change over it, and one over their product.
#[derive(Debug)]
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    rho: f64,
}

impl Minimiser {
    /// From `start`, until the gradient is `tolerance` times `scale` or so many steps are done.
    pub(super) fn new(start: Vec<f64>, tolerance: f64, scale: f64, steps: usize) -> Self {
        Self {
            candidate: start.clone(),
            gradient: Vec::new(),
            direction: Vec::new(),
            at: start,
            value: f64::INFINITY,
            slope: 0.0,
            step: 1.0,
            halvings: 0,
            history: VecDeque::with_capacity(MEMORY),
            enough: tolerance * scale,
            tolerance,
            left: steps,
            state: State::Beginning,
            metric: None,
        }
    }

    /// The same for a function of about this curvature.
    pub(super) fn with_metric(mut self, metric: Option<Metric>) -> Self {
        self.metric = metric;
        self
    }

    /// Where to look next.
    pub(super) fn asks(&self) -> &[f64] {
        &self.candidate
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The best place there was.
    pub(super) fn best(&self) -> &[f64] {
        &self.at
    }

    /// Takes value and gradient of where it asked.
    pub(super) fn tell(&mut self, value: f64, gradient: Vec<f64>) {
        match self.state {
            State::Done => return,
            State::Beginning => {
                self.value = value;
                self.gradient = gradient;
                let length = norm(&self.gradient);
                if self.enough <= 0.0 {
                    self.enough = self.tolerance * length;
                }
                if length <= self.enough || !value.is_finite() {
                    self.state = State::Done;
                    return;
                }
                self.state = State::Searching;
                let cautious = 1.0 / length.max(1.0);
                self.turn(self.metric.as_ref().map_or(cautious, |_| 1.0));
                return;
            }
            State::Searching => {}
        }
        let wanted = self.value + ARMIJO * self.step * self.slope;
        // Where rounding is larger than the decrease, a place with less slope is the better one.
        let level = (value - self.value).abs() <= 1e-12 * self.value.abs();
        let flatter = level && norm(&gradient) < norm(&self.gradient);
        if !(value <= wanted || flatter) {
            self.halvings += 1;
            if self.halvings > HALVINGS {
                self.state = State::Done;
                return;
            }
            self.step /= 2.0;
            self.place();
            return;
        }
        let step: Vec<f64> = sub(&self.candidate, &self.at);
        let change = sub(&gradient, &self.gradient);
        let product = dot(&step, &change);
        if product > 1e-12 * norm(&step) * norm(&change) {
            if self.history.len() == MEMORY {
                self.history.pop_front();
            }
            self.history.push_back(Pair {
                rho: 1.0 / product,
                step,
                change,
            });
        }
        self.at.clone_from(&self.candidate);
        (self.value, self.gradient) = (value, gradient);
        self.left = self.left.saturating_sub(1);
        if norm(&self.gradient) <= self.enough || self.left == 0 {
            self.state = State::Done;
            return;
        }
        self.turn(1.0);
    }

    /// Takes a new direction, and looks first this far along it.
    fn turn(&mut self, step: f64) {
        let mut q = self.gradient.clone();
        let mut alphas = Vec::with_capacity(self.history.len());
        for pair in self.history.iter().rev() {
            let alpha = pair.rho * dot(&pair.step, &q);
            add(&mut q, -alpha, &pair.change);
            alphas.push(alpha);
        }
        if let Some(metric) = &self.metric {
            metric.solve(&mut q);
        } else if let Some(last) = self.history.back() {
            let scale = 1.0 / (last.rho * dot(&last.change, &last.change));
            for value in &mut q {
                *value *= scale;
            }
        }
        for (pair, alpha) in self.history.iter().zip(alphas.into_iter().rev()) {
            let beta = pair.rho * dot(&pair.change, &q);
            add(&mut q, alpha - beta, &pair.step);
        }
        for value in &mut q {
            *value = -*value;
        }
        self.slope = dot(&q, &self.gradient);
        self.direction = q;
        self.step = step;
        self.halvings = 0;
        // Rounding may have turned it uphill; the gradient never is.
        if self.slope >= 0.0 {
            self.history.clear();
            self.direction = self.gradient.iter().map(|x| -x).collect();
            self.slope = dot(&self.direction, &self.gradient);
        }
        self.place();
    }

    fn place(&mut self) {
        self.candidate.clone_from(&self.at);
        add(&mut self.candidate, self.step, &self.direction);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn sub(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn add(to: &mut [f64], times: f64, of: &[f64]) {
    for (to, of) in to.iter_mut().zip(of) {
        *to += times * of;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_narrow_valley_is_walked_to_its_end() {
        // A quadratic whose widths differ by a factor of a hundred thousand.
        let widths: Vec<f64> = (0..20).map(|at| 10_f64.powf(f64::from(at) / 4.0)).collect();
        let goal: Vec<f64> = (0..20).map(|at| f64::from(at) - 7.0).collect();
        let mut minimiser = Minimiser::new(vec![0.0; 20], 1e-9, 0.0, 1000);
        let mut looked = 0;
        while !minimiser.is_done() {
            let off = sub(minimiser.asks(), &goal);
            let gradient: Vec<f64> = off.iter().zip(&widths).map(|(x, w)| x * w).collect();
            minimiser.tell(dot(&off, &gradient) / 2.0, gradient);
            looked += 1;
        }
        let off = norm(&sub(minimiser.best(), &goal));
        assert!(off < 1e-3 && looked < 600, "{off} after {looked}");
    }

    #[test]
    fn what_is_no_number_ends_it() {
        let mut minimiser = Minimiser::new(vec![1.0], 1e-6, 0.0, 10);
        minimiser.tell(f64::NAN, vec![f64::NAN]);
        assert!(minimiser.is_done());
    }
}
