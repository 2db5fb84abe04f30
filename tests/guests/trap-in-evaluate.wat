;; Hits `unreachable`.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (unreachable))
;;@end
