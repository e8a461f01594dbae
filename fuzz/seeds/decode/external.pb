€
Bexternalj
location
model.dataj
offset4096j
length2048p