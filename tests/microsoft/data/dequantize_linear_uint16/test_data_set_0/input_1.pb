
Bx1J 9