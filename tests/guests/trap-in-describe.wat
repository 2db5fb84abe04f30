;; Hits `unreachable`.
;;@describe
(func (export "keyward:policy/decide@0.1.0#describe") (result i32)
  (unreachable))
;;@end
