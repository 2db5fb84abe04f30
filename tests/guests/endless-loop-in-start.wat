;; Never finishes being instantiated.
;;@imports
(start $spin)
(func $spin (loop $again (br $again)))
;;@end
