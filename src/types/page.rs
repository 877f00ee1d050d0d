//! Pages of a list: how many, from where, and where the next one starts.

/// Which page of a list is wanted. Checked by [`crate::types::Limits::page_request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items in the page, at least 1.
    pub size: usize,
    /// The token that the page before gave; `None` for the first page.
    pub token: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items in the list's order.
    pub items: Vec<T>,
    /// Give it back to get the page after this one; `None` when this is the last.
    pub next_token: Option<String>,
}
