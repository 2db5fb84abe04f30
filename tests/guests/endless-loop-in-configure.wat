;; Never finishes being configured.
;;@configure
(func (export "keyward:policy/decide@0.1.0#configure") (param i32 i32) (result i32)
  (loop $again (br $again))
  (unreachable))
;;@end
