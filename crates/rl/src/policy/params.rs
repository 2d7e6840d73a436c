//! A policy's parameters: a tree of arrays by name, on a tape and off it.

use ad::{DType, Handle, Tape, Value, Var};
use indexmap::IndexMap;
use ndarray::{Array1, ArrayD};

use crate::error::{Error, Result};
use crate::rollout::check_shape;

/// Parameters on a tape, by name. A table is a tree of one leaf.
pub type Params = IndexMap<String, Var>;

/// Parameters as numbers, by name, in the order in which a program takes them.
pub type Numbers = IndexMap<String, ArrayD<f64>>;

/// Records parameters as inputs of a tape, in double precision.
#[track_caller]
pub fn record(numbers: &Numbers, tape: &Tape) -> Params {
    record_as(numbers, tape, DType::F64)
}

/// [`record`] in a floating-point type: then all that is made of them is of this type.
///
/// Panics for a type that is not a floating-point one.
#[track_caller]
pub fn record_as(numbers: &Numbers, tape: &Tape, dtype: DType) -> Params {
    assert!(dtype.is_float(), "record_as: parameters are floating-point numbers, not {dtype}");
    // (A closure would not pass on where this is called from.)
    let mut params = Params::with_capacity(numbers.len());
    for (name, array) in numbers {
        params.insert(name.clone(), tape.input(name, Value::from(array).rounded(dtype)));
    }
    params
}

/// The inputs, in their order, for a program.
pub fn handles(params: &Params) -> Vec<Handle> {
    params.values().map(|&var| var.into()).collect()
}

/// Their values, in the same order.
pub fn values(numbers: &Numbers) -> Vec<Value<'_>> {
    values_as(numbers, DType::F64)
}

/// [`values`] for a program of parameters that were [recorded](record_as) in this floating-point type.
///
/// Panics for a type that is not a floating-point one.
#[track_caller]
pub fn values_as(numbers: &Numbers, dtype: DType) -> Vec<Value<'_>> {
    assert!(dtype.is_float(), "values_as: parameters are floating-point numbers, not {dtype}");
    numbers.values().map(|array| Value::from(array).rounded(dtype)).collect()
}

/// The names and shapes of a tree's leaves, in their order.
#[derive(Debug)]
pub(crate) struct Structure(Vec<(String, Vec<usize>)>);

impl Structure {
    pub(crate) fn of(numbers: &Numbers) -> Self {
        Self(numbers.iter().map(|(name, array)| (name.clone(), array.shape().to_vec())).collect())
    }

    /// An error unless the tree called `what` has it.
    pub(crate) fn check(&self, what: &'static str, found: &Numbers) -> Result<()> {
        check_shape(what, &[found.len()], &[self.0.len()])?;
        for ((name, shape), (found_name, array)) in self.0.iter().zip(found) {
            if name != found_name {
                return Err(Error::Name { found: found_name.clone(), expected: name.clone() });
            }
            check_shape(what, array.shape(), shape)?;
        }
        Ok(())
    }
}

/// As many zeros, of the same names and shapes.
pub fn zeros_like(numbers: &Numbers) -> Numbers {
    numbers.iter().map(|(name, array)| (name.clone(), ArrayD::zeros(array.raw_dim()))).collect()
}

/// Numbers of the names and shapes of `like`, one leaf behind another, as a tree.
///
/// Panics if there are fewer; what is behind them is not looked at.
#[track_caller]
pub fn from_flat(like: &Numbers, numbers: &[f64]) -> Numbers {
    let mut left = numbers;
    let leaf = |(name, like): (&String, &ArrayD<f64>)| {
        let (own, rest) = left.split_at(like.len());
        left = rest;
        (name.clone(), ArrayD::from_shape_vec(like.raw_dim(), own.to_vec()).expect("as many"))
    };
    like.iter().map(leaf).collect()
}

/// The values of Vars by name, such as a gradient by parameters, in double precision. Evaluates them.
pub fn evaluate(tree: &Params) -> Numbers {
    let vars: Vec<Var> = tree.values().map(|var| var.cast(DType::F64)).collect();
    tree.keys().cloned().zip(ad::evaluate(&vars)).collect()
}

/// The parameter of this name.
///
/// Panics if there is none.
#[track_caller]
pub(super) fn parameter(theta: &Params, name: &str) -> Var {
    let Some(&parameter) = theta.get(name) else {
        let others: Vec<&str> = theta.keys().map(String::as_str).collect();
        panic!(
            "there is no parameter `{name}` among {}",
            if others.is_empty() { "none".into() } else { others.join(", ") }
        )
    };
    parameter
}

/// A compiled function of trees: of values for `inputs` (Vars that were [recorded](record) in double precision), what `outputs`
/// are then. Other inputs of the tape have the values they were recorded with. A tree of other names or shapes is an error.
///
/// ```
/// use rl::policy::{self, Policy, Table};
/// let (tape, table) = (ad::Tape::new(), Table { states: 1, actions: 2 });
/// let zeros = table.init(&mut rl::stream::stream(0, 0));
/// let (theta, v) = (policy::record(&zeros, &tape), policy::record(&zeros, &tape));
/// let entropy = theta["logits"].softmax().square().sum();
/// let hessian_times = policy::function(&tape, &v, &entropy.hvp(&theta, &v));
/// assert_eq!(hessian_times(&zeros)?["logits"].shape(), [1, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[track_caller]
pub fn function(tape: &Tape, inputs: &Params, outputs: &Params) -> impl Fn(&Numbers) -> Result<Numbers> + use<> {
    let program = tape.compile(handles(inputs), outputs.values().copied());
    let structure = Structure(inputs.iter().map(|(name, var)| (name.clone(), var.shape().to_vec())).collect());
    let names: Vec<String> = outputs.keys().cloned().collect();
    move |numbers| {
        structure.check("the inputs", numbers)?;
        let results = program.run(&values(numbers))?;
        Ok(names.iter().cloned().zip(results).collect())
    }
}

/// Records parameters as one input, and the same as a tree: the leaf itself if there is but one, of its shape; else a vector of
/// all, one leaf behind another. For derivatives of higher order, which are arrays of its entries.
#[track_caller]
pub(crate) fn record_as_one(numbers: &Numbers, tape: &Tape) -> (Var, Params) {
    if let [array] = numbers.values().collect::<Vec<_>>()[..] {
        let theta = tape.input("theta", array);
        return (theta, numbers.keys().map(|name| (name.clone(), theta)).collect());
    }
    let all: Array1<f64> = numbers.values().flat_map(|array| array.iter().copied()).collect();
    let theta = tape.input("theta", all);
    let mut begin = 0;
    let leaf = |(name, array): (&String, &ArrayD<f64>)| {
        let range = begin..begin + array.len();
        begin = range.end;
        (name.clone(), theta.slice(0, range).reshape(array.shape()))
    };
    (theta, numbers.iter().map(leaf).collect())
}
