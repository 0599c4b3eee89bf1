//! Rules about the repository: layers, documents, lists, configuration, commands.

pub(crate) mod broken;
pub(crate) mod circles;
pub(crate) mod cli;
pub(crate) mod config;
pub(crate) mod config_docs;
pub(crate) mod demo;
pub(crate) mod links;
pub(crate) mod numbers;
pub(crate) mod operations;
pub(crate) mod tidy;
