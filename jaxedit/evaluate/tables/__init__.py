"""Tables of the papers, with our rows under the published rows."""
