//! The normal distribution with any covariance, by its triangular factor.

use ad::Triangle::Lower;
use ad::{Index, Shape, Var};
use ndarray::Array2;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::categorical::batch_shape;
use super::dist::{OverVectors, own_formulas};
use super::support::{expect_components, expect_dtype, expect_fit, expect_points, rounded, row_of, sum_components};

/// Normal distributions in D dimensions, one for each row of means `[…, D]`, of covariance L·Lᵀ: L is a lower triangle with a positive
/// diagonal.
///
/// It is kept as the logarithms of L's diagonal, `[…, D]`, and what is below it row by row (L₁₀, L₂₀, L₂₁, …), `[…, D(D − 1)/2]`: any numbers are
/// such a covariance, and none says anything twice. The axes in front are the batch, which broadcasts against that of points, noise and
/// other distributions, by NumPy's rule. A triangle that all rows share is solved with once.
///
/// Unlike [`Normal`](super::Normal), it is right only where the entries of L are within the type's range.
#[derive(Clone, Copy, Debug)]
pub struct FullNormal {
    mean: Var,
    log_diagonal: Var,
    below: Var,
}

impl FullNormal {
    /// From means `[…, D]`, the logarithms of L's diagonal, `[…, D]`, and what is below it, `[…, D(D − 1)/2]`.
    ///
    /// Panics if they differ in D, or in type.
    #[track_caller]
    pub fn new(mean: Var, log_diagonal: Var, below: Var) -> Self {
        expect_dtype("FullNormal", "log_diagonal", mean, log_diagonal);
        expect_dtype("FullNormal", "below", mean, below);
        let shape = row_of("FullNormal", "means", mean, "log_diagonal", log_diagonal);
        let (&size, batch) = shape.split_last().expect("`row_of` has checked it");
        assert!(size > 0, "FullNormal: means of shape {:?} have no component", mean.shape());
        expect_components("FullNormal", "below", below, size * (size - 1) / 2);
        let belows = below.shape();
        let mut whole = batch_shape("FullNormal", batch, "below", &belows[..belows.len() - 1]);
        whole.push(size);
        Self { mean: mean.broadcast_to(&whole), log_diagonal, below }
    }

    /// From means `[…, D]` and triangles L, `[…, D, D]`, with a positive diagonal; what is above it is not looked at. That of a covariance is its
    /// Cholesky factor.
    ///
    /// Panics if they differ in D, or in type.
    #[track_caller]
    pub fn of_factor(mean: Var, factor: Var) -> Self {
        let (means, shape) = (mean.shape(), factor.shape());
        let [batch @ .., rows, columns] = &shape[..] else {
            panic!("FullNormal: the factor needs the shape […, D, D], got {shape:?}")
        };
        assert!(
            means.last() == Some(rows) && rows == columns,
            "FullNormal: the factor of means {means:?} needs the shape […, D, D] with the same D, got {shape:?}"
        );
        let (size, rank) = (*rows, batch.len());
        let entries = factor.reshape(&[batch, &[size * size]].concat());
        let at = |places: Vec<usize>| {
            let places: ndarray::Array1<i32> = places.into_iter().map(|place| place as i32).collect();
            entries.gather_along(rank, [Index::constant(factor, places)])
        };
        let diagonal = at((0..size).map(|i| i * size + i).collect());
        let below = at((0..size).flat_map(|i| (0..i).map(move |j| i * size + j)).collect());
        Self::new(mean, diagonal.ln(), below)
    }

    /// The means, `[…, D]`.
    pub fn mean(&self) -> Var {
        self.mean
    }

    /// D.
    fn size(&self) -> usize {
        *self.mean.shape().last().expect("`new` has checked it")
    }

    /// The batch.
    fn batch(&self) -> Shape {
        let mut shape = self.mean.shape();
        shape.pop();
        shape
    }

    /// The logarithms of L's diagonal, `[…, D]`.
    #[track_caller]
    pub fn log_diagonal(&self) -> Var {
        self.log_diagonal.broadcast_to(&self.mean.shape())
    }

    /// What is below L's diagonal, row by row, `[…, D(D − 1)/2]`.
    #[track_caller]
    pub fn below(&self) -> Var {
        let mut shape = self.batch();
        shape.push(*self.below.shape().last().expect("`new` has checked it"));
        self.below.broadcast_to(&shape)
    }

    /// L, `[…, D, D]`.
    #[track_caller]
    pub fn factor(&self) -> Var {
        let mut shape = self.mean.shape();
        shape.push(self.size());
        self.own_factor().broadcast_to(&shape)
    }

    /// L, in the batch that its entries have.
    #[track_caller]
    fn own_factor(&self) -> Var {
        let (diagonal, below, size) = (self.log_diagonal.exp(), self.below, self.size());
        let [one, other] = [diagonal, below].map(|entries| entries.shape());
        let rank = one.len().max(other.len()) - 1;
        let batch = batch_shape("FullNormal", &one[..one.len() - 1], "below", &other[..other.len() - 1]);
        let whole = |entries: Var, length: usize| entries.broadcast_to(&[&batch[..], &[length]].concat());
        let number = size * (size - 1) / 2;
        let diagonal = whole(diagonal, size);
        let entries = Var::concat(&[whole(below, number), diagonal, diagonal.slice(rank, 0..1).full_like(0.0)], rank);
        let place = |(i, j): (usize, usize)| match i.cmp(&j) {
            std::cmp::Ordering::Greater => i * (i - 1) / 2 + j,
            std::cmp::Ordering::Equal => number + i,
            std::cmp::Ordering::Less => number + size,
        };
        let places = Array2::from_shape_fn((size, size), |position| place(position) as i32);
        entries.gather_along(rank, [Index::constant(self.mean, places)])
    }

    /// L⁻¹·x of vectors x, `[…, D]`.
    #[track_caller]
    fn in_deviations(&self, x: Var) -> Var {
        let (factor, shape) = (self.own_factor(), x.shape());
        let (&size, batch) = shape.split_last().expect("with components");
        if factor.shape().len() == 2 {
            // All vectors are the columns of one right-hand side.
            let count = batch.iter().product();
            return factor.solve_triangular(x.reshape(&[count, size]).t(), Lower).t().reshape(&shape);
        }
        let factors = factor.shape();
        let both = batch_shape("FullNormal", &factors[..factors.len() - 2], "points", batch);
        let column = x.broadcast_to(&[&both[..], &[size]].concat()).insert_axis(both.len() + 1);
        let factor = factor.broadcast_to(&[&both[..], &[size, size]].concat());
        factor.solve_triangular(column, Lower).reshape(&[&both[..], &[size]].concat())
    }

    /// log π(a) = −½ |L⁻¹(a − m)|² − Σ_j log L_jj − ½ D log 2π, `[…]`, of points `[…, D]`.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        expect_points("FullNormal", "log_prob", "points", self.mean, points);
        let square = self.in_deviations(points - self.mean).square();
        sum_components(square * -0.5 - self.log_diagonal - 0.5 * std::f64::consts::TAU.ln())
    }

    /// Σ_j log L_jj + ½ D log 2πe, `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        sum_components(self.log_diagonal() + 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln())
    }

    /// KL(self ‖ other) = Σ_j (log L'_jj − log L_jj) + ½ ‖L'⁻¹L‖² + ½ |L'⁻¹(m − m')|² − ½ D, `[…]`, by Frobenius' norm.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        expect_points("FullNormal", "kl", "the other's means", self.mean, other.mean);
        let size = self.size();
        let [own, others] = [self.own_factor(), other.own_factor()];
        let [shape, other_shape] = [own.shape(), others.shape()];
        let both = batch_shape("kl", &shape[..shape.len() - 2], "the other", &other_shape[..other_shape.len() - 2]);
        let whole = |factor: Var| factor.broadcast_to(&[&both[..], &[size, size]].concat());
        let ratio = whole(others).solve_triangular(whole(own), Lower);
        let spread = sum_components(sum_components(ratio.square()));
        let logarithms = sum_components(other.log_diagonal - self.log_diagonal);
        let square = sum_components(other.in_deviations(self.mean - other.mean).square());
        (square + spread - size as f64) * 0.5 + logarithms
    }

    /// m + L·`noise`, for standard normal noise `[…, D]`: a sample as a function of the parameters.
    #[track_caller]
    pub fn reparameterised(&self, noise: Var) -> Var {
        expect_dtype("FullNormal", "noise", self.mean, noise);
        expect_fit("FullNormal", "reparameterised", self.mean, "noise", noise);
        let columns = noise.insert_axis(noise.shape().len() - 1);
        self.mean + sum_components(self.own_factor() * columns)
    }
}

impl OverVectors for FullNormal {
    fn name(&self) -> &'static str {
        "a normal distribution of any covariance"
    }

    fn shape(&self) -> Shape {
        self.mean.shape()
    }

    #[track_caller]
    fn heads(&self) -> Vec<Var> {
        vec![self.mean, self.log_diagonal(), self.below()]
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { mean: heads[0], log_diagonal: heads[1], below: heads[2] }
    }

    own_formulas!(log_prob entropy kl);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        let (batch, size) = (self.batch(), self.size());
        let factor = self.factor().reshape(&[&batch[..], &[size * size]].concat());
        Var::concat(&[self.mean, factor], batch.len())
    }

    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]) {
        let (mean, factor) = numbers.split_at(action.len());
        action.fill_with(|| StandardNormal.sample(rng));
        // From the last one on, because a component is made of the noise before it.
        for j in (0..action.len()).rev() {
            let row = &factor[j * action.len()..=j * (action.len() + 1)];
            let sum: f64 = row.iter().zip(&action[..]).map(|(entry, noise)| entry * noise).sum();
            action[j] = rounded(mean[j] + sum, single);
        }
    }
}
