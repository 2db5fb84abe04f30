;; Not from the skeleton: a component that wants the clock, random numbers and files.
(component
  (import "wasi:clocks/wall-clock@0.2.0" (instance))
  (import "wasi:random/random@0.2.0" (instance))
  (import "wasi:filesystem/preopens@0.2.0" (instance)))
