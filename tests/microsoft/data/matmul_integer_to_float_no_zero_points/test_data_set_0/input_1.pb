Bx1J#g|&_6cPy0
<zd Cfd =as9