;; Not from the skeleton: a component that does nothing at all.
(component)
