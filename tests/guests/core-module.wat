;; Not from the skeleton: a core module, not a component.
(module (func (export "evaluate")))
