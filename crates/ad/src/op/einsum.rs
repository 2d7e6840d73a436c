//! Sums of products by the names of axes: read, and recorded as transposes, a product, and sums.

use crate::tape::Var;
use crate::tensor::{Axes, Shape, size};

/// The sum of a product of one or two arrays, by the names of their axes, a letter each: `"nd,kd->nk"` is
/// out[n, k] = Σ_d a[n, d]·b[k, d]. What is not behind the arrow is summed over.
///
/// What is summed of two arrays is a (stack of) matrix products where either has an axis of its own, and a product of numbers
/// else; a letter stands for one length everywhere, as nothing is broadcast. Not there are diagonals (a letter twice in one
/// array), `...`, and more than two arrays.
///
/// ```
/// let tape = ad::Tape::new();
/// let queries = tape.input("queries", &ndarray::Array4::<f64>::ones([2, 5, 3, 4]));        // [batch, time, head, width]
/// let keys = tape.input("keys", &ndarray::Array4::<f64>::ones([2, 7, 3, 4]));
/// let scores = ad::einsum("bthd,bshd->bhts", &[queries, keys]);
/// assert_eq!(scores.shape()[..], [2, 3, 5, 7]);
/// ```
///
/// Panics for a text that says nothing of the kind, or not of these arrays.
#[track_caller]
pub fn einsum(subscripts: &str, operands: &[Var]) -> Var {
    let (names, out) = match read(subscripts, operands.len()) {
        Ok(read) => read,
        Err(problem) => panic!("einsum: `{subscripts}` {problem}"),
    };
    expect_lengths(subscripts, &names, operands);
    let mut factors = Vec::with_capacity(names.len());
    for (i, (own, &x)) in names.iter().zip(operands).enumerate() {
        let other = names.iter().enumerate().find(|&(j, _)| j != i).map_or(&[][..], |(_, other)| other);
        let is_kept = |name: &char| out.contains(name) || other.contains(name);
        let alone: Axes = (0..own.len()).filter(|&axis| !is_kept(&own[axis])).collect();
        let x = if alone.is_empty() { x } else { x.sum_axes(&alone) };
        factors.push(Named { x, names: own.iter().copied().filter(is_kept).collect() });
    }
    let result = match &factors[..] {
        [one] => one.clone(),
        [a, b] => product(a, b, &out),
        _ => unreachable!("read refuses others"),
    };
    result.in_order(&out)
}

/// An array and the names of its axes.
#[derive(Clone)]
struct Named {
    x: Var,
    names: Vec<char>,
}

impl Named {
    /// The array with its axes in this order, which has them all.
    #[track_caller]
    fn in_order(&self, names: &[char]) -> Var {
        let axes: Axes = names.iter().map(|name| self.axis(*name)).collect();
        self.x.transpose(&axes)
    }

    fn axis(&self, name: char) -> usize {
        self.names.iter().position(|other| *other == name).expect("it has an axis of this name")
    }

    /// The lengths of some of its axes.
    #[track_caller]
    fn lengths(&self, names: &[char]) -> Shape {
        let shape = self.x.shape();
        names.iter().map(|name| shape[self.axis(*name)]).collect()
    }
}

/// The product of two, summed over what is in both and not in `out`.
#[track_caller]
fn product(a: &Named, b: &Named, out: &[char]) -> Named {
    let both = |kept: bool| -> Vec<char> {
        a.names.iter().copied().filter(|name| b.names.contains(name) && out.contains(name) == kept).collect()
    };
    let (stack, summed) = (both(true), both(false));
    let own = |x: &Named, y: &Named| -> Vec<char> {
        x.names.iter().copied().filter(|name| !y.names.contains(name)).collect()
    };
    let (of_a, of_b) = (own(a, b), own(b, a));
    let (left, right) =
        (a.in_order(&[&stack[..], &of_a, &summed].concat()), b.in_order(&[&stack[..], &summed, &of_b].concat()));
    let front = a.lengths(&stack);
    let (rows, columns, terms) = (a.lengths(&of_a), b.lengths(&of_b), a.lengths(&summed));
    let (m, n, k) = (size(&rows), size(&columns), size(&terms));
    let names = [stack, of_a, of_b].concat();
    let last = |x: Var, last: &[usize]| x.reshape(&[&front[..], last].concat());
    let x = if terms.is_empty() {
        last(left, &[m, 1]) * last(right, &[1, n])
    } else if names.len() == front.len() {
        (last(left, &[k]) * last(right, &[k])).sum_axes(&[front.len()])
    } else {
        last(left, &[m, k]).matmul(last(right, &[k, n]))
    };
    Named { x: x.reshape(&[&front[..], &rows, &columns].concat()), names }
}

/// The names of the operands' axes, and of the result's. The error says what is wrong with the text.
fn read(subscripts: &str, operands: usize) -> Result<(Vec<Vec<char>>, Vec<char>), String> {
    let text: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
    let (given, out) = text.split_once("->").ok_or("has no `->` (what is summed over is what is not behind it)")?;
    let given: Vec<Vec<char>> = given.split(',').map(|names| names.chars().collect()).collect();
    let out: Vec<char> = out.chars().collect();
    if given.len() != operands || operands > 2 {
        return Err(format!("is of {} arrays, and {operands} are given (there can be one or two)", given.len()));
    }
    if let Some(other) = given.iter().flatten().chain(&out).find(|c| !c.is_ascii_alphabetic()) {
        return Err(format!("has `{other}`, which is no letter"));
    }
    for names in given.iter().chain([&out]) {
        let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
        twice.map_or(Ok(()), |(_, name)| Err(format!("has `{name}` twice in one array")))?;
    }
    match out.iter().find(|name| !given.iter().flatten().any(|other| other == *name)) {
        Some(new) => Err(format!("has `{new}` behind the arrow alone")),
        None => Ok((given, out)),
    }
}

/// Panics unless the operands have as many axes as are named, and those of one name one length.
#[track_caller]
fn expect_lengths(subscripts: &str, names: &[Vec<char>], operands: &[Var]) {
    let mut known: Vec<(char, usize, Var)> = Vec::new();
    for (names, &x) in names.iter().zip(operands) {
        operands[0].check_same_tape("einsum", x);
        operands[0].check_same_dtype("einsum", x);
        let shape = x.shape();
        assert!(
            names.len() == shape.len(),
            "einsum: `{subscripts}` names {} axes of an array of shape {shape:?}\n  operand made at {}",
            names.len(),
            x.location()
        );
        for (&name, &length) in names.iter().zip(&shape) {
            if let Some((_, other, first)) = known.iter().find(|known| known.0 == name && known.1 != length) {
                panic!(
                    "einsum: `{subscripts}` has `{name}` for axes of lengths {other} and {length}\n  operand made at {}\n  \
                     operand made at {}",
                    first.location(),
                    x.location()
                );
            }
            known.push((name, length, x));
        }
    }
}
